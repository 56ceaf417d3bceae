module slipway.invalid/bench/floor

go 1.21
