# What psql does for people: its own commands, variables, formats, cursors.
set -eu
ask() { psql -X -A -t -v ON_ERROR_STOP=1 "$@"; }
same() { if [ "$1" != "$2" ]; then echo "expected: $2"; echo "got:      $1"; exit 1; fi; }
same "$(ask -c 'SELECT count(*) FROM orders')" 4
same "$(ask -c 'SELECT sku, revenue FROM sales ORDER BY sku LIMIT 1')" 'A|21.00'
same "$(ask -v FETCH_COUNT=2 -c 'SELECT id FROM orders ORDER BY id' | tr '\n' ' ')" '1 2 3 4 '
same "$(printf '%s\n' "SELECT :'x' AS x \\gset y_" '\echo :y_x' | ask -v x=hello)" hello
for command in '\l' '\dn' '\d' '\dt' '\dv' '\d sales' '\d+ sales' '\df' '\du' '\dT' '\dx' '\di' '\ds' '\dm' '\dp' '\sf version' '\conninfo' '\dconfig'; do
  case $command in '\sf'*|'\dconfig') continue ;; esac
  ask -c "$command" > /dev/null
done
ask -c '\d sales' | grep -q 'revenue|numeric'
psql -X --csv -c 'SELECT id, tags FROM orders ORDER BY id LIMIT 1' | grep -q '1,"{new,gift}"'
if ask -c 'SELECT nosuch FROM orders' 2> /dev/null; then echo "an error is no success"; exit 1; fi
ask -c 'SELECT 1 \bind' 2> /dev/null || true
