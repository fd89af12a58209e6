"""What a backbone is worth where every place of a picture counts: detection, instance and semantic segmentation."""
