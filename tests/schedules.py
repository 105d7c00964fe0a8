"""What tests of schedules share: names that quoting breaks on, and a program that notes what it got."""

import json
import sys
from pathlib import Path

from hypothesis import strategies as st

from launch.main import main

# of files, as people and attackers name them
HOSTILE = (
    "with space",
    "two  spaces ",
    "it's",
    'say "hi"',
    "100%",
    r"50\% off",
    r"\\%",
    r"\\\and\\",
    "%%n %i",
    "$HOME",
    "${HOME}",
    "$$",
    "$(touch pwned)",
    "`touch pwned`",
    "a=b",
    "a;b",
    "a&b|c>d<e",
    "back\\slash\\",
    "\\n",
    "#hash",
    "~root",
    "*?[ab]{c,d}",
    "größe",
    "東京 🎵",
    "{{ ds }}",
    "{0!r}",
    "!bang",
    "1e3",
    "yes",
    "null",
)
# any name that can stand on a line
WORDS = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=30)
TO = {
    "cron": [],
    "systemd": [],
    "k8s": ["--image", "registry.example/l3flow:1", "--volume", "audio=/"],
    "cloud-scheduler": [
        *("--project", "p", "--region", "europe-west1", "--job", "l3flow"),
        *("--service-account", "nightly@p.iam.gserviceaccount.com", "--volume", "/"),
    ],
    "airflow": ["--volume", "/"],
}


def schedule(capsys, to, *command, every="night", flags=()):
    """The facts that it prints as JSON."""
    argv = ["schedule", "--to", to, "--every", every, *TO[to], *flags, "--json", "--", *command]
    assert main(list(map(str, argv))) == 0
    return json.loads(capsys.readouterr().out)


def embedding(*inputs):
    """A command that embeds."""
    return ["embed", "--input", *inputs, "--output", "/data/table"]


def recorder(folder):
    """A program that notes its arguments and environment, and where it does."""
    noted, program = Path(folder) / "noted.json", Path(folder) / "note it 100% ü"
    program.write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        f"facts = {{'argv': sys.argv[1:], 'env': dict(os.environ)}}\n"
        f"json.dump(facts, open({str(noted)!r}, 'w'))\nprint('said so')\n"
        "sys.exit(int(os.environ.get('END_WITH', '0')))\n",
        encoding="utf-8",
    )
    program.chmod(0o755)
    return program, noted
