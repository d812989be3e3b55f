# Same as folder_64.py, in memory, with batched augmentation on the model's device.
_base_ = "./folder_64.py"

data_preprocessor = dict(type="smallvit.AugmentingPreprocessor")

in_memory = dict(
    num_workers=0,
    persistent_workers=False,
    collate_fn=dict(type="smallvit.collate_in_memory"),
    dataset=dict(type="smallvit.InMemory", of="smallvit.ClassFolders"),
)
train_dataloader = in_memory
val_dataloader = in_memory
test_dataloader = in_memory
