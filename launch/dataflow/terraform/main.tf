locals {
  services = [
    "artifactregistry.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "cloudscheduler.googleapis.com",
    "compute.googleapis.com",
    "dataflow.googleapis.com",
    "iam.googleapis.com",
    "logging.googleapis.com",
    "monitoring.googleapis.com",
    "storage.googleapis.com",
  ]
}

resource "google_project_service" "needed" {
  for_each = toset(local.services)

  project            = var.project
  service            = each.value
  disable_on_destroy = false
}

resource "google_storage_bucket" "l3flow" {
  name                        = var.bucket
  project                     = var.project
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  # What jobs stage is not needed once they have ended; the table lies elsewhere in the bucket.
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age            = var.temp_days
      matches_prefix = ["temp/"]
    }
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }
    condition {
      age = 7
    }
  }

  depends_on = [google_project_service.needed]
}

# The spec, with the image filled in: what l3flow template build writes.
resource "google_storage_bucket_object" "template" {
  bucket       = google_storage_bucket.l3flow.name
  name         = "templates/l3flow.json"
  content_type = "application/json"
  content      = jsonencode(merge(jsondecode(file("${path.module}/../template.json")), { image = var.image }))
}
