"""Compute the figures that `segue list networks` prints and write them to src/segue/figures.json.

python benchmarks/figures.py
"""

from segue.figures import shipped, write
from segue.models import MODELS

if __name__ == "__main__":
    write(MODELS)
    for name, figures in shipped().items():
        print(f"{name:20} {figures}")
