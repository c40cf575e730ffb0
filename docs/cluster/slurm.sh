#!/bin/bash
# Trains on four machines of a Slurm cluster, a rank a machine: sbatch slurm.sh
# A job that is ended before its time is over is resumed by submitting it again.
#SBATCH --job-name=potstill
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@120
set -euo pipefail

out=${OUT:-$PWD/out/dwpw} # on a file system that all machines see
resume=()
[[ -e $out/last.safetensors ]] && resume=(--resume)

# The library is that of the module; pmix is Open MPI's, for MPICH and Intel MPI it is pmi2.
# --kill-on-bad-exit ends the others at once when a rank dies.
srun --mpi="${MPI:-pmix}" --cpus-per-task="$SLURM_CPUS_PER_TASK" --kill-on-bad-exit=1 \
  potstill train --arch cnn-dwpw --data "${DATA:-food11}" --size 128 --batch 32 --epochs 30 --schedule cosine \
  --threads "$SLURM_CPUS_PER_TASK" --save-every 200 --out "$out" "${resume[@]}"
