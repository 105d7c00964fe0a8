variable "project" {
  description = "Id of the Google Cloud project."
  type        = string

  validation {
    condition     = can(regex("^[a-z][-a-z0-9]{4,28}[a-z0-9]$", var.project))
    error_message = "project needs a project's id, as my-project-1, and not its number."
  }
}

variable "region" {
  description = "Region of the jobs and of what schedules them, as us-central1."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region needs a region, as us-central1, and no zone."
  }
}

variable "bucket" {
  description = "Name of the bucket that is made: the table, the template and what jobs stage."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][-_a-z0-9]{1,61}[a-z0-9]$", var.bucket))
    error_message = "bucket needs a name of 3 to 63 small letters, digits, - and _, without gs://."
  }
}

variable "input_buckets" {
  description = "Names of buckets that are there already, with audio that jobs read."
  type        = set(string)
  default     = []
}

variable "repository" {
  description = "Repository of Artifact Registry with the image, which is there already."
  type = object({
    project  = string
    location = string
    name     = string
  })
}

variable "image" {
  description = "Image of launch/docker: of the launcher and of workers."
  type        = string

  validation {
    condition     = can(regex("^[^[:space:]:@]+(:[0-9]+)?/[^[:space:]:@]+(:[^[:space:]:@]+|@sha256:[0-9a-f]{64})$", var.image))
    error_message = "image needs a name with a tag or a digest, as us-docker.pkg.dev/my-project/images/l3flow:1."
  }
}

variable "scheduler_job" {
  description = "File that l3flow schedule --to flex-template --output has written."
  type        = string

  validation {
    condition     = can(jsondecode(file(var.scheduler_job)).httpTarget.body)
    error_message = "scheduler_job needs a file that l3flow schedule --to flex-template has written."
  }
}

variable "notification_channels" {
  description = "Names of notification channels of Cloud Monitoring, projects/PROJECT/notificationChannels/ID."
  type        = list(string)
  default     = []
}

variable "temp_days" {
  description = "Days until what jobs have staged is deleted; longer than any job runs."
  type        = number
  default     = 14

  validation {
    condition     = var.temp_days >= 7
    error_message = "temp_days needs at least 7: a job reads what it has staged until it ends."
  }
}

variable "silent_hours" {
  description = "Hours without a machine at work after which somebody is told: a bit more than between two runs."
  type        = number
  default     = 26

  validation {
    condition     = var.silent_hours >= 1
    error_message = "silent_hours needs at least 1."
  }
}
