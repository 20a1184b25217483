# The gate, as CI runs it.
gate:
    bash .ci/run

# The wire code, after a change of proto/schema.
wire:
    cargo run -p roundhouse-proto --features codegen --bin generate-wire
