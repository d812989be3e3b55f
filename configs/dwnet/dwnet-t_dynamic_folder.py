_base_ = "./dwnet-t_folder.py"

model = dict(backbone=dict(conv="dynamic"))
