# Everything but the student for guided training on Tiny-ImageNet.
_base_ = [
    "../datasets/tiny-imagenet_224_randaug.py",
    "../schedules/cifar_adamw_300e.py",
    "../default_runtime.py",
    "./resnet-56_tiny-imagenet.py",
]
