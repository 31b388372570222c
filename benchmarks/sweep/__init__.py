"""Parts of `benchmarks.memory_sweep`: what it measures, its file and its figure."""
