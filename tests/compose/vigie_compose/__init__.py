"""What docker-compose.yml, the Dockerfile and the files they mount must keep to, and whether they do."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
