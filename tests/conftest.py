"""What all tests share: the fake model, and no accelerator."""

import os

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tests import fake_model

fake_model.register()
