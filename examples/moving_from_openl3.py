"""Moving over from openl3: the same calls, another import.

python examples/moving_from_openl3.py clip.ogg                with openl3's published weights
python examples/moving_from_openl3.py clip.ogg weights.h5     with your own
"""

import sys

import soundfile

# was: from openl3 import get_audio_embedding; from openl3.models import load_audio_...
from l3core.openl3_api import get_audio_embedding, load_audio_embedding_model_from_path

audio, sample_rate = soundfile.read(sys.argv[1])
if len(sys.argv) > 2:
    model = load_audio_embedding_model_from_path(sys.argv[2], "mel256", 512)
    embedding, timestamps = get_audio_embedding(audio, sample_rate, model=model, hop_size=0.5)
else:
    embedding, timestamps = get_audio_embedding(audio, sample_rate, embedding_size=512, hop_size=0.5)

windows, size = embedding.shape
print(f"{windows} windows of {size} numbers, at {timestamps[0]} to {timestamps[-1]} s")
