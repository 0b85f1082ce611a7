"""Local Hugging Face models: loading, prompts, batches, caches."""
