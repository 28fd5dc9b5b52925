-- What a portfolio was worth at the end of each day when the days after it were judged: where that is another by now,
-- their value at risk is.
create table ops.judged_days (
    portfolio text not null,
    session_date date not null,
    value double precision not null,
    primary key (portfolio, session_date)
);
