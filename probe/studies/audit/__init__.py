"""The audit: is a checkpoint safe to use at half precision, tiled, at this size?"""
