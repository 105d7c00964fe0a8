# As this one the launcher and workers run.
resource "google_service_account" "work" {
  project      = var.project
  account_id   = "l3flow-work"
  display_name = "l3flow on Dataflow: plans and embeds"

  depends_on = [google_project_service.needed]
}

# As this one Cloud Scheduler launches the template, and nothing else.
resource "google_service_account" "launch" {
  project      = var.project
  account_id   = "l3flow-launch"
  display_name = "l3flow on Dataflow: launches the template"

  depends_on = [google_project_service.needed]
}

locals {
  work   = "serviceAccount:${google_service_account.work.email}"
  launch = "serviceAccount:${google_service_account.launch.email}"
}

resource "google_project_iam_member" "work_is_worker" {
  project = var.project
  role    = "roles/dataflow.worker"
  member  = local.work
}

# A run that finds the table locked asks how the job is that has the lock, which lists jobs.
resource "google_project_iam_member" "work_sees_jobs" {
  project = var.project
  role    = "roles/dataflow.viewer"
  member  = local.work
}

resource "google_storage_bucket_iam_member" "work_writes" {
  bucket = google_storage_bucket.l3flow.name
  role   = "roles/storage.objectUser"
  member = local.work
}

# Beam asks for the bucket itself before it stages.
resource "google_storage_bucket_iam_member" "work_sees_bucket" {
  bucket = google_storage_bucket.l3flow.name
  role   = "roles/storage.legacyBucketReader"
  member = local.work
}

resource "google_storage_bucket_iam_member" "work_reads" {
  for_each = var.input_buckets

  bucket = each.value
  role   = "roles/storage.objectViewer"
  member = local.work
}

resource "google_artifact_registry_repository_iam_member" "work_pulls" {
  project    = var.repository.project
  location   = var.repository.location
  repository = var.repository.name
  role       = "roles/artifactregistry.reader"
  member     = local.work
}

resource "google_project_iam_member" "launch_launches" {
  project = var.project
  role    = "roles/dataflow.developer"
  member  = local.launch
}

resource "google_service_account_iam_member" "launch_runs_as_work" {
  service_account_id = google_service_account.work.name
  role               = "roles/iam.serviceAccountUser"
  member             = local.launch
}

# The template, and whether there is a bucket to stage in.
resource "google_storage_bucket_iam_member" "launch_reads" {
  bucket = google_storage_bucket.l3flow.name
  role   = "roles/storage.objectViewer"
  member = local.launch
}

resource "google_storage_bucket_iam_member" "launch_sees_bucket" {
  bucket = google_storage_bucket.l3flow.name
  role   = "roles/storage.legacyBucketReader"
  member = local.launch
}
