output "template" {
  description = "The template, for l3flow template run --template."
  value       = local.template
}

output "temp_location" {
  description = "For embed --temp-location: what is there is deleted after temp_days."
  value       = "gs://${google_storage_bucket.l3flow.name}/temp"
}

output "work_account" {
  description = "For embed --service-account."
  value       = google_service_account.work.email
}

output "launch_account" {
  description = "For l3flow schedule --service-account."
  value       = google_service_account.launch.email
}
