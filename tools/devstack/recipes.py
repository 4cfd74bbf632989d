"""What the stand-ins for well-known images consist of: Debian 12's packages, users, folders, and settings.

Each takes the name under which the field knows the image, and the tag of the version that Debian 12 has. Unlike Docker
Hub's, all but Python's run as their service's own user from the start, with a read-only root and data folders to mount.
"""

from dataclasses import dataclass

from tools.devstack.oci import Rules

EPOCH = 1_686_355_200  # the release of Debian 12: any fixed time does
_PERL = ("usr/lib/x86_64-linux-gnu/perl", "usr/lib/x86_64-linux-gnu/perl-base", "usr/share/perl", "usr/share/perl5")
_PERL_PROGRAMS = ("usr/bin/perl", "usr/bin/perl5.36.0", "usr/lib/x86_64-linux-gnu/libperl.so.5.36.0")
_UNUSED = ("usr/share/doc", "usr/share/info", "usr/share/lintian", "usr/share/locale", "usr/share/man", "etc/apt")
_MACHINES = ("etc/hostname", "etc/machine-id", "etc/resolv.conf")
_STATE = ("var/cache", "var/lib/apt", "var/lib/dpkg/info", "var/log", "var/tmp")
_GROUPS = "root:x:0:\nnogroup:x:65534:\n"
_USERS = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One image, `library/<name>` with `tags`.

    `owner` is the service's user and its number; empty: root runs the program. `folders` are theirs to write, once
    something is mounted there; the first is the working directory. `texts` are files to add, by path; `joined` ones
    consist of all files of a folder. `dropped` and `absent` are folders and files that go. `checks` are commands that
    must succeed in the image.
    """

    name: str
    tags: tuple[str, ...]
    packages: tuple[str, ...]
    command: tuple[str, ...]
    checks: tuple[tuple[str, ...], ...]
    owner: tuple[str, int] | None = None
    folders: tuple[str, ...] = ()
    texts: tuple[tuple[str, str], ...] = ()
    joined: tuple[tuple[str, str], ...] = ()
    dropped: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()

    @property
    def repository(self) -> str:
        """Where it stands in the registry: as on Docker Hub."""
        return f"library/{self.name}"

    @property
    def user(self) -> str:
        """As the image's configuration has it: `uid:gid`; empty for root."""
        return f"{self.owner[1]}:{self.owner[1]}" if self.owner else ""

    @property
    def rules(self) -> Rules:
        """What is taken out of the packages, and what is added."""
        groups, users = _GROUPS, _USERS
        if self.owner:
            name, number = self.owner
            home = f"/{self.folders[0]}" if self.folders else "/nonexistent"
            groups += f"{name}:x:{number}:\n"
            users += f"{name}:x:{number}:{number}:{name}:{home}:/usr/sbin/nologin\n"
        number = self.owner[1] if self.owner else 0
        return Rules(
            epoch=EPOCH,
            left_out=("dev", "run", "tmp", *_STATE, *_UNUSED, *self.dropped),
            absent=(*_MACHINES, *_UNUSED, *self.dropped, *self.absent),
            added={"etc/group": groups, "etc/passwd": users, **dict(self.texts)},
            joined=dict(self.joined),
            folders=dict.fromkeys(self.folders, number),
        )


PYTHON = Recipe(
    name="python",
    tags=("3.11-slim",),
    packages=(
        *("ca-certificates", "coreutils", "dash", "libpython3-stdlib", "python-is-python3"),
        *("python3", "python3-minimal", "python3-pip"),
    ),
    command=("python3",),
    checks=(
        (
            "/usr/bin/python3",
            "-c",
            "import ctypes, json, os, socket, ssl, sys, time; assert ssl.create_default_context().get_ca_certs()",
        ),
        ("/usr/bin/pip", "--version"),
    ),
    joined=(("etc/ssl/certs/ca-certificates.crt", "usr/share/ca-certificates/mozilla"),),
    dropped=("usr/share/ca-certificates",),
    absent=("usr/lib/python3.11/EXTERNALLY-MANAGED",),  # Debian's rule for a machine, not for an image
)
REDIS = Recipe(
    name="redis",
    tags=("7", "7.0"),
    packages=("coreutils", "dash", "redis-server", "redis-tools"),
    command=("redis-server", "--protected-mode", "no"),  # as in Docker Hub's image: a container's network is its own
    checks=(("/usr/bin/redis-server", "--version"), ("/usr/bin/redis-cli", "--version")),
    owner=("redis", 999),
    folders=("data",),
    dropped=("etc/redis", *_PERL),
    absent=_PERL_PROGRAMS,
)
MEMCACHED = Recipe(
    name="memcached",
    tags=("1.6",),
    packages=("coreutils", "dash", "memcached"),
    command=("memcached",),
    checks=(("/usr/bin/memcached", "--version"),),
    owner=("memcache", 11211),
    dropped=_PERL,
    absent=("etc/memcached.conf", *_PERL_PROGRAMS),
)
NGINX = Recipe(
    name="nginx",
    tags=("1.22",),
    packages=("coreutils", "dash", "nginx-light"),
    command=("nginx", "-e", "stderr", "-g", "daemon off;"),
    checks=(("/usr/sbin/nginx", "-e", "stderr", "-v"),),
    owner=("nginx", 101),
    folders=("etc/nginx/conf.d",),
    dropped=("etc/nginx/modules-enabled", "etc/nginx/sites-available", "etc/nginx/sites-enabled", "usr/share/GeoIP"),
    texts=(
        (
            "etc/nginx/nginx.conf",
            """worker_processes 1;
pid /tmp/nginx.pid;
error_log stderr;
events {
  worker_connections 1024;
}
http {
  include /etc/nginx/mime.types;
  default_type application/octet-stream;
  access_log /dev/stdout;
  sendfile on;
  server_tokens off;
  client_body_temp_path /tmp/client-body;
  proxy_temp_path /tmp/proxy;
  fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi;
  scgi_temp_path /tmp/scgi;
  include /etc/nginx/conf.d/*.conf;
}
""",
        ),
        (
            "etc/nginx/conf.d/default.conf",
            """server {
  listen 8080;
  root /usr/share/nginx/html;
  index index.html;
}
""",
        ),
    ),
)
MARIADB = Recipe(
    name="mariadb",
    tags=("10.11",),
    packages=(
        "coreutils",
        "dash",
        "debianutils",
        "findutils",
        "hostname",
        "mariadb-client-core",
        "mariadb-server-core",
        "sed",
    ),
    command=("sh", "/usr/local/bin/docker-entrypoint.sh", "mariadbd"),
    checks=(("/usr/sbin/mariadbd", "--version"), ("/usr/bin/mariadb", "--version")),
    owner=("mysql", 999),
    folders=("var/lib/mysql",),
    dropped=("etc/mysql/conf.d", "etc/mysql/mariadb.conf.d"),
    texts=(
        (
            "etc/mysql/my.cnf",
            """[client-server]
socket = /tmp/mysqld.sock
[mariadbd]
datadir = /var/lib/mysql
pid-file = /tmp/mysqld.pid
tmpdir = /tmp
character-set-server = utf8mb4
skip-name-resolve
[mariadb]
socket = /tmp/mysqld.sock
""",
        ),
        (
            "usr/local/bin/docker-entrypoint.sh",
            r"""#!/bin/sh
# Makes an empty data folder a database with the accounts that MARIADB_… variables ask for, then becomes the program.
set -eu
line() { printf '%s\n' "$1"; } # dash's echo reads backslashes
text() { printf "'%s'" "$(printf %s "$1" | sed -e 's/\\/\\\\/g' -e "s/'/''/g")"; }
name() { printf '`%s`' "$(printf %s "$1" | sed -e 's/`/``/g')"; }
data=/var/lib/mysql
if [ -e "$data/.unfinished" ]; then # an earlier start was interrupted: the accounts may lack their passwords
  find "$data" -mindepth 1 -delete
fi
if [ ! -d "$data/mysql" ]; then
  : "${MARIADB_ROOT_PASSWORD:?is not set: it is needed to make the database}"
  [ -z "${MARIADB_USER:-}" ] || : "${MARIADB_PASSWORD:?is not set: MARIADB_USER needs one}"
  : > "$data/.unfinished"
  mariadb-install-db --no-defaults --datadir="$data" --tmpdir=/tmp --auth-root-authentication-method=normal \
    --skip-test-db --skip-name-resolve >&2
  {
    line 'FLUSH PRIVILEGES;'
    line "SET PASSWORD FOR root@localhost = PASSWORD($(text "$MARIADB_ROOT_PASSWORD"));"
    line "CREATE USER root@'%' IDENTIFIED BY $(text "$MARIADB_ROOT_PASSWORD");"
    line "GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;"
    if [ -n "${MARIADB_DATABASE:-}" ]; then
      line "CREATE DATABASE $(name "$MARIADB_DATABASE");"
    fi
    if [ -n "${MARIADB_USER:-}" ]; then
      line "CREATE USER $(text "$MARIADB_USER")@'%' IDENTIFIED BY $(text "$MARIADB_PASSWORD");"
      if [ -n "${MARIADB_DATABASE:-}" ]; then
        line "GRANT ALL ON $(name "$MARIADB_DATABASE").* TO $(text "$MARIADB_USER")@'%';"
      fi
    fi
  } | mariadbd --bootstrap --skip-networking
  rm "$data/.unfinished"
fi
unset MARIADB_ROOT_PASSWORD MARIADB_PASSWORD
exec "$@"
""",
        ),
    ),
)
SERVICES = (REDIS, MEMCACHED, NGINX, MARIADB)
