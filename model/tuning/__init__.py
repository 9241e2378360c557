"""Parts of fine-tuning (`model.finetune`)."""
