# A launch that failed while it planned is a failed job, too.
resource "google_monitoring_alert_policy" "failed" {
  project               = var.project
  display_name          = "l3flow: a job of ${local.launched.jobName} failed"
  combiner              = "OR"
  notification_channels = var.notification_channels

  conditions {
    display_name = "A job failed"

    condition_threshold {
      filter          = "resource.type = \"dataflow_job\" AND resource.labels.job_name = \"${local.launched.jobName}\" AND metric.type = \"dataflow.googleapis.com/job/is_failed\""
      comparison      = "COMPARISON_GT"
      threshold_value = 0
      duration        = "0s"

      aggregations {
        alignment_period   = "300s"
        per_series_aligner = "ALIGN_MAX"
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "The table is as it was, and the next run takes over what was finished. Why: the job's page of Dataflow; of a launch that failed, the launcher's log, whose last line begins with l3flow."
  }

  depends_on = [google_project_service.needed]
}

# A night with nothing to do has a job, too, so silence means that nothing was launched, or nothing got
# as far as a machine. PromQL, since a condition on absence looks back 23.5 hours at most.
resource "google_monitoring_alert_policy" "silent" {
  project               = var.project
  display_name          = "l3flow: no job of ${local.launched.jobName} for ${var.silent_hours} hours"
  combiner              = "OR"
  notification_channels = var.notification_channels

  conditions {
    display_name = "No machine was at work"

    condition_prometheus_query_language {
      query                     = "absent_over_time(dataflow_googleapis_com:job_current_num_vcpus{monitored_resource=\"dataflow_job\", job_name=\"${local.launched.jobName}\"}[${var.silent_hours}h])"
      duration                  = "0s"
      evaluation_interval       = "300s"
      disable_metric_validation = true
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "Look whether Cloud Scheduler fires the job, and what Dataflow answers; it tells this, too, until the first run. l3flow runs --table lists what has committed."
  }

  depends_on = [google_project_service.needed]
}
