"""The metric in the paper's order, on tensors alone: pyramid, descriptors, distance, influences, MS-SSIM."""
