# Same as cifar100_deit_32.py, in memory, with batched augmentation on the model's device.
_base_ = "./cifar100_deit_32.py"

data_preprocessor = dict(type="smallvit.AugmentingPreprocessor")

in_memory = dict(
    num_workers=0,
    persistent_workers=False,
    collate_fn=dict(type="smallvit.collate_in_memory"),
    dataset=dict(type="smallvit.InMemory", of="CIFAR100"),
)
train_dataloader = in_memory
val_dataloader = in_memory
test_dataloader = in_memory
