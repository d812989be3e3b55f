# All of a guided student on Chaoyang but the student itself.
_base_ = [
    "../datasets/chaoyang_224_randaug.py",
    "../schedules/cifar_adamw_300e.py",
    "../default_runtime.py",
    "./resnet-56_chaoyang.py",
]
