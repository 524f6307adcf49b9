#!/usr/bin/env bash
# The base from nothing, unattended: `scripts/base/train.sh OUT`. About 1.8 hours of two free cores; when it is stopped, the
# same command goes on. At the end the files stand where Sakuga finds them.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PYTHONPATH=src OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=0
out=${1:?the folder to train in}
python="${PYTHON:-.venv/bin/python} -u scripts/base"
mkdir -p "$out"
$python/data.py --out "$out/data"
$python/vae.py --data "$out/data" --out "$out" --minutes "${VAE_MINUTES:-35}"
$python/scale.py --data "$out/data" --vae "$out/vae" --out "$out"
$python/text_and_transformer.py --data "$out/data" --vae "$out/vae" --out "$out" --minutes "${TRANSFORMER_MINUTES:-44}"
$python/describe.py --data "$out/data" --vae "$out/vae" --out "$out" --minutes 5 --seed 1 # captions
$python/describe.py --data "$out/data" --vae "$out/vae" --out "$out" --minutes 5 --seed 2 # judges
judge="$python/judge.py --data $out/data --vae $out/vae --weights $out --describer $out/describer-2.safetensors"
$judge | tee "$out/judge.log"
$python/text_and_transformer.py --data "$out/data" --vae "$out/vae" --out "$out" --minutes 8 --experts
$judge --member tiny-experts | tee "$out/judge-experts.log"
$python/embed.py --weights "$out"
