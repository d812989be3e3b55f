# Everything but the student for guided training on Chaoyang.
_base_ = [
    "../datasets/chaoyang_224_randaug.py",
    "../schedules/cifar_adamw_300e.py",
    "../default_runtime.py",
    "./resnet-56_chaoyang.py",
]
