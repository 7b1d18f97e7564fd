"""The Inverter I: a photo becomes W+ codes and features F_k (Eq. 1-3)."""
