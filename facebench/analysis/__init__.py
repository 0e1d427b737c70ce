"""From records to figures: means with confidence intervals, rate-distortion curves, values at equal bytes."""
