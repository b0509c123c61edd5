"""From the predictions of OpenMMLab models to the metrics that their config names."""
