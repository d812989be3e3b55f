_base_ = [
    "../_base_/models/dhvt_finetune.py",
    "../_base_/datasets/domainnet-clipart_deit_224.py",
    "../_base_/schedules/dhvt_finetune_adamw_100e.py",
    "../_base_/default_runtime_cudnn.py",
]

model = dict(head=dict(num_classes=345))

# No repeated augmentation
train_dataloader = dict(sampler=dict(type="DefaultSampler"))
