package registry

//go:generate npm ci --ignore-scripts --no-audit --no-fund
//go:generate node compile.mjs
//go:generate go tool abigen --v2 --abi Registry.abi --bin Registry.bin --pkg registry --type Contract --out bindings.go
