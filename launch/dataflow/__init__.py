"""Pipelines on Google Dataflow.

Before a job: `flags`, `options` (what they mean), `machines` and `gpu_options` (what Google offers),
`prices`. The job: `run`, on `workers`; `rest` asks the service, `causes` words what it says.

The Flex Template: `parameters` (flags under other names), `template` (spec and launch, from here),
`launcher` and `launched` (what runs at Google, and what it is told); `template.json` is what `template`
makes. To watch: `dashboard` makes `dashboard.json`. `terraform/` makes all that a schedule needs.
"""
