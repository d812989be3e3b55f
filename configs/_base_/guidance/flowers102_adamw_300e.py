# Everything but the student for guided training on Flowers-102.
_base_ = [
    "../datasets/flowers102_224_randaug.py",
    "../schedules/cifar_adamw_300e.py",
    "../default_runtime.py",
    "./resnet-56_flowers102.py",
]
