module tidewatch

go 1.26
