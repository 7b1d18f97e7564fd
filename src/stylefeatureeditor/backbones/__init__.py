"""Residual trunks shared by the encoders: iresnet (Fig. 7-8) and IR-SE50."""
