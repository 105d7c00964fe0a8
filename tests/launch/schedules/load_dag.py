"""Run by Airflow's own Python: loads a folder of DAGs, and does the task of the one that is there."""

import json
import sys
from datetime import datetime, timezone

import pendulum
from airflow.models.dagbag import DagBag
from airflow.timetables.base import TimeRestriction


def runs(timetable, start, count):
    """When a timetable would run a DAG, as Airflow's scheduler asks it."""
    found, last = [], None
    restriction = TimeRestriction(pendulum.instance(start), None, True)
    for _ in range(count):
        info = timetable.next_dagrun_info(last_automated_data_interval=last, restriction=restriction)
        last = info.data_interval
        found.append(info.run_after.in_timezone("UTC").isoformat())
    return found


def main(folder, start, out):
    """Write what was found as JSON; what the task raised is part of it."""
    bag = DagBag(folder, include_examples=False)
    facts = {"errors": bag.import_errors, "dags": {}}
    for name, dag in bag.dags.items():
        (task,) = dag.tasks
        try:
            task.execute({})
            raised = None
        except Exception as error:  # whatever it is, the test looks at it
            raised = [type(error).__name__, str(error)]
        at = datetime.fromisoformat(start).replace(tzinfo=timezone.utc)
        facts["dags"][name] = {
            "catchup": dag.catchup,
            "max_active_runs": dag.max_active_runs,
            "time_zone": dag.timezone.name,
            "retries": task.retries,
            "templates": list(task.template_fields),
            "raised": raised,
            "runs": runs(dag.timetable, at, 4),
        }
    with open(out, "w", encoding="utf-8") as file:
        json.dump(facts, file)


main(*sys.argv[1:])
