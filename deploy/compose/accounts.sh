#!/usr/bin/env bash
# Makes passwords that are not there yet, and accounts that may do what their role needs and nothing else.
#   ./accounts.sh secrets     makes secrets/*; run it before `docker compose up`
#   ./accounts.sh grants      makes the accounts on PostgreSQL and RabbitMQ; run it after `docker compose run prepare`,
#                             and again with each new version and each changed password
#   ./accounts.sh owner       makes the owner's account on RabbitMQ and the bucket, which `prepare` uses
set -euo pipefail
cd "$(dirname "$0")"

database_roles=(api query media write admit notify relay schedule)
queue_roles=(api analyze analyze-songs media write admit receive notify relay)
blob_roles=(api analyze-songs media schedule)

name() { printf '%s' "${1//-/_}"; }
password() { cat "secrets/$(name "$1")_password"; }
antiphon() { docker compose run --rm --no-deps --entrypoint /usr/local/bin/antiphon analyze "$@"; }
psql() { docker compose exec -T postgres psql --quiet --set ON_ERROR_STOP=1 --username antiphon_owner antiphon; }
broker() { docker compose exec -T rabbitmq bash -eu; }
objects() { docker compose exec -T objects weed shell; }

make_secrets() {
    umask 077
    mkdir -p secrets
    for role in owner web "${database_roles[@]}" "${queue_roles[@]}"; do
        local file
        file="secrets/$(name "$role")_password"
        [ -s "$file" ] || head --bytes 24 /dev/urandom | base64 | tr --delete '+/=\n' >"$file"
    done
    local accounts="" actions
    for role in "${blob_roles[@]}"; do
        actions='"Read:antiphon","Write:antiphon","List:antiphon"'
        [ "$role" = analyze-songs ] && actions='"Read:antiphon","List:antiphon"'
        [ "$role" = media ] && actions='"Admin:antiphon","Read:antiphon","Write:antiphon","List:antiphon"'
        accounts+="${accounts:+,}{\"name\":\"antiphon_$(name "$role")\",\"credentials\":[{\"accessKey\":\"antiphon_$(name "$role")\","
        accounts+="\"secretKey\":\"$(password "$role")\"}],\"actions\":[$actions]}"
    done
    printf '{"identities":[%s]}\n' "$accounts" >secrets/objects_accounts
    # Containers read them as a user of their own.
    chmod 644 secrets/*
    chmod 700 secrets
}

make_broker_account() {
    local account
    account="antiphon_$(name "$1")"
    # The password goes by standard input, never by an argument.
    printf 'rabbitmqctl --quiet add_user %s <<<%s 2>/dev/null || rabbitmqctl --quiet change_password %s <<<%s\n' \
        "$account" "$(password "$1")" "$account" "$(password "$1")" | broker
}

make_owner() {
    make_broker_account owner
    printf "rabbitmqctl --quiet set_permissions antiphon_owner '.*' '.*' '.*'\n" | broker
    # A bucket that is there already stays as it is.
    printf 's3.bucket.create -name antiphon\n' | objects
}

make_grants() {
    for role in "${database_roles[@]}"; do
        printf "DO \$\$ BEGIN CREATE ROLE antiphon_%s LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END \$\$;\nALTER ROLE antiphon_%s PASSWORD '%s';\n" \
            "$(name "$role")" "$(name "$role")" "$(password "$role")" | psql
        antiphon roles --grants "$role" --on postgresql | psql
    done
    for role in "${queue_roles[@]}"; do
        make_broker_account "$role"
        antiphon roles --grants "$role" --on rabbitmq | broker
    done
}

case "${1:-}" in
    secrets) make_secrets ;;
    owner) make_owner ;;
    grants) make_grants ;;
    *) sed -n '2,6p' "$0"; exit 2 ;;
esac
