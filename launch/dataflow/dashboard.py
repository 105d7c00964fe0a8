"""The Cloud Monitoring dashboard of our jobs: `python -m launch.dataflow.dashboard` prints it.

The names of our counters are those of `l3core.table.counters`; those of Google stand in `PLATFORM`. A
Beam counter is `dataflow.googleapis.com/job/user_counter` there, with its name as a label; it is a
gauge, so that rates are PromQL's `deriv`. A distribution comes as four gauges, `NAME_MEAN` and so on.
"""

import json
from collections.abc import Iterable
from typing import Any

from l3core.table.counters import METRICS, busy_metric
from l3core.table.stopwatch import KINDS

DOMAIN = "dataflow.googleapis.com"
USER_COUNTER = "job/user_counter"
JOBS = "l3flow.*"  # names of jobs
COLUMNS, WIDTH, HEIGHT = 48, 24, 16

# https://docs.cloud.google.com/monitoring/api/metrics_gcp_d_h, as of 2026: all of resource dataflow_job
PLATFORM = {
    USER_COUNTER: "a counter of the pipeline",
    "job/gpu_utilization": "share of the time that a kernel ran, %",
    "job/gpu_memory_utilization": "share of the time that GPU memory was read or written, %",
    "job/backlog_elements": "known input of a stage that was not processed yet",
    "job/current_num_vcpus": "vCPUs in use",
    "job/is_failed": "1: the job has failed",
    "job/elapsed_time": "seconds in the state Running",
    "job/total_vcpu_time": "vCPU seconds so far",
    "job/total_memory_usage_time": "GB seconds of memory so far",
    "job/total_pd_usage_time": "GB seconds of disk so far",
    "job/billable_shuffle_data_processed": "bytes of shuffle that are billed",
}


def build() -> dict[str, Any]:
    """The dashboard, as the API takes it (monitoring.v1, projects.dashboards)."""
    busy = [busy_metric(kind) for kind in KINDS]
    clips = [name for name in METRICS if name.startswith("clips_")]
    widgets = [
        _chart("Windows a second", ["windows"], rate=True),
        _chart("Files by status", clips, plot="STACKED_AREA"),
        _chart("Threads at work, by kind (ms a second)", busy, rate=True, plot="STACKED_AREA"),
        _platform("GPU at work (%)", "job/gpu_utilization", "job/gpu_memory_utilization"),
        _platform(
            "Backlog: elements that wait, by stage", "job/backlog_elements", by="metric.label.stage"
        ),
        _platform("vCPUs", "job/current_num_vcpus"),
        _chart("Shards finished", ["shards"]),
        _chart("A batch in the model: mean (us)", ["inference_batch_latency_micro_secs_MEAN"]),
        _chart("Loading a model: longest (ms)", ["load_model_latency_milli_secs_MAX"]),
        _chart("GPU memory of a process: most (bytes)", ["gpu_memory_peak_bytes_MAX"]),
        _chart("Bytes read a second", ["bytes_read"], rate=True),
        _platform("Failed jobs", "job/is_failed"),
        _platform("Cost: vCPU seconds", "job/total_vcpu_time"),
        _platform(
            "Cost: memory and disk, GB seconds", "job/total_memory_usage_time", "job/total_pd_usage_time"
        ),
        _platform("Cost: billed shuffle, bytes", "job/billable_shuffle_data_processed"),
        _platform("Running for, seconds", "job/elapsed_time"),
        {
            "title": "Warnings and errors of workers",
            "logsPanel": {"filter": log_filter("severity>=WARNING")},
        },
    ]
    return {
        "displayName": "l3flow on Dataflow",
        "dashboardFilters": [{"filterType": "RESOURCE_LABEL", "labelKey": "job_name"}],
        "mosaicLayout": {"columns": COLUMNS, "tiles": list(_tiles(widgets))},
    }


def log_filter(*more: str) -> str:
    """A filter of Cloud Logging for what workers of our jobs have said."""
    lines = ['resource.type="dataflow_step"', f'resource.labels.job_name=~"^{JOBS}"']
    return "\n".join([*lines, f'log_id("{DOMAIN}/worker")', *more])


def metric_names() -> set[str]:
    """What `metric_name` can be: of a distribution, what becomes of it."""
    found = set()
    for name, metric in METRICS.items():
        ends = ("",) if metric.kind == "counter" else ("_MAX", "_MIN", "_MEAN", "_COUNT")
        found |= {name + end for end in ends}
    return found


def _chart(
    title: str, names: Iterable[str], *, rate: bool = False, plot: str = "LINE"
) -> dict[str, Any]:
    """A chart of counters of ours."""
    labels = {
        "__name__": f'="{DOMAIN}/{USER_COUNTER}"',
        "monitored_resource": '="dataflow_job"',
        "job_name": f'=~"{JOBS}"',
        "metric_name": f'=~"{"|".join(names)}"',
    }
    series = "{" + ",".join(f'"{label}"{value}' for label, value in labels.items()) + "}"
    # a counter starts again at zero with the next job
    value = f"clamp_min(deriv({series}[5m]), 0)" if rate else series
    query = f"sum by (job_name, metric_name) ({value})"
    return _xy(title, [{"timeSeriesQuery": {"prometheusQuery": query}, "plotType": plot}])


def _platform(title: str, *metrics: str, by: str | None = None) -> dict[str, Any]:
    """A chart of metrics of Google's."""
    group = ["resource.label.job_name", *([by] if by else [])]
    sets = [
        {
            "timeSeriesQuery": {
                "timeSeriesFilter": {
                    "filter": f'metric.type="{DOMAIN}/{metric}" resource.type="dataflow_job" '
                    f'resource.label.job_name=monitoring.regex.full_match("{JOBS}")',
                    "aggregation": {
                        "alignmentPeriod": "60s",
                        "perSeriesAligner": "ALIGN_MAX",
                        "crossSeriesReducer": "REDUCE_MAX",
                        "groupByFields": group,
                    },
                }
            },
            "plotType": "LINE",
        }
        for metric in metrics
    ]
    return _xy(title, sets)


def _xy(title: str, sets: list[dict[str, Any]]) -> dict[str, Any]:
    return {"title": title, "xyChart": {"dataSets": sets, "yAxis": {"scale": "LINEAR"}}}


def _tiles(widgets: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    for number, widget in enumerate(widgets):
        row, column = divmod(number, COLUMNS // WIDTH)
        place = {"xPos": column * WIDTH, "yPos": row * HEIGHT}
        last = number == len(widgets) - 1
        yield place | {"width": COLUMNS if last else WIDTH, "height": HEIGHT, "widget": widget}


def as_text() -> str:
    """What `dashboard.json` holds."""
    return json.dumps(build(), indent=1) + "\n"


if __name__ == "__main__":
    print(as_text(), end="")
