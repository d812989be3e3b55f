# 300 epochs, warm-up over 20, then a cosine; a total batch of 512 at a learning rate of 5e-4.
_base_ = "./dw_shortcut_in1k_adamw_300e.py"

optim_wrapper = dict(optimizer=dict(lr=5e-4))

# 4 GPUs with 128 images each
auto_scale_lr = dict(enable=False, base_batch_size=512)
