"""The metric in the paper's order, on tensors alone: pyramid, descriptors, distance, its influences, MS-SSIM."""
