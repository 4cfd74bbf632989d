module pulumi-scone/launcher

go 1.26.8
