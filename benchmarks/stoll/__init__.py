"""The LSTM autoencoders of Stoll 2022 and Ahmad 2020."""
