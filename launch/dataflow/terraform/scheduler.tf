# What is launched, and when, is told to l3flow schedule alone; here it is only put in place.
locals {
  scheduled = jsondecode(file(var.scheduler_job))
  launched  = jsondecode(base64decode(local.scheduled.httpTarget.body)).launchParameter
  template  = "gs://${google_storage_bucket.l3flow.name}/${google_storage_bucket_object.template.name}"
}

resource "google_cloud_scheduler_job" "l3flow" {
  name             = basename(local.scheduled.name)
  project          = var.project
  region           = var.region
  description      = local.scheduled.description
  schedule         = local.scheduled.schedule
  time_zone        = local.scheduled.timeZone
  attempt_deadline = local.scheduled.attemptDeadline

  retry_config {
    retry_count          = local.scheduled.retryConfig.retryCount
    min_backoff_duration = local.scheduled.retryConfig.minBackoffDuration
    max_backoff_duration = local.scheduled.retryConfig.maxBackoffDuration
    max_doublings        = local.scheduled.retryConfig.maxDoublings
  }

  http_target {
    uri         = local.scheduled.httpTarget.uri
    http_method = local.scheduled.httpTarget.httpMethod
    headers     = local.scheduled.httpTarget.headers
    body        = local.scheduled.httpTarget.body

    oauth_token {
      service_account_email = google_service_account.launch.email
      scope                 = local.scheduled.httpTarget.oauthToken.scope
    }
  }

  lifecycle {
    precondition {
      condition     = local.launched.containerSpecGcsPath == local.template
      error_message = "scheduler_job launches another template: give l3flow schedule --template ${local.template}"
    }
    precondition {
      condition     = try(local.launched.environment.serviceAccountEmail, "") == google_service_account.work.email
      error_message = "scheduler_job runs as another account: give embed --service-account ${google_service_account.work.email}"
    }
    precondition {
      condition     = local.launched.parameters.sdk_container_image == var.image
      error_message = "scheduler_job has workers with another image: give embed --sdk-container-image ${var.image}"
    }
    precondition {
      condition     = strcontains(local.scheduled.name, "projects/${var.project}/locations/${var.region}/")
      error_message = "scheduler_job is of another project or region."
    }
  }

  depends_on = [
    google_project_iam_member.launch_launches,
    google_service_account_iam_member.launch_runs_as_work,
    google_storage_bucket_iam_member.launch_reads,
    google_storage_bucket_iam_member.launch_sees_bucket,
  ]
}
