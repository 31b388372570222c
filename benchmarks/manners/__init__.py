"""What can be done with nn.LSTM, done with it and with every model."""
