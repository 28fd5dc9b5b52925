-- What people list in files beside the events, kept equal to them by the transform; and what dbt's models and tests said.

-- `cost` is what one unit cost; a negative quantity is a short position.
create table ops.portfolio_positions (
    portfolio text not null,
    symbol text not null,
    quantity numeric not null check (quantity <> 0),
    cost numeric not null check (cost >= 0),
    primary key (portfolio, symbol)
);

create table ops.listed_actions (
    symbol text not null,
    ex_date date not null,
    action text not null check (action in ('split', 'dividend')),
    ratio numeric check (ratio > 0),
    amount numeric check (amount > 0),
    currency text,
    primary key (symbol, ex_date, action),
    check ((action = 'split') = (ratio is not null) and (action = 'dividend') = (amount is not null))
);

-- The last word of each model and test. `rows`: what a model wrote, how many rows failed a test; null: dbt does not say.
create table ops.build_results (
    name text primary key,
    kind text not null check (kind in ('model', 'test')),
    state text not null,
    rows bigint,
    seconds double precision not null,
    built_at timestamptz not null default clock_timestamp(),
    failed_at timestamptz,
    message text
);
