_base_ = [
    "../_base_/models/dvt_transfer.py",
    "../_base_/datasets/cifar100_224_transfer.py",
    "../_base_/schedules/cifar_transfer_sgd_60e.py",
    "../_base_/default_runtime_cudnn.py",
]

model = dict(head=dict(num_classes=100))
