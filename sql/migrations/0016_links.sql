-- oldest program: 0.1
-- Links of a card to commits, pull requests and issues, and to anything else.

create table card_links (
    id bigint generated always as identity primary key,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    card_id bigint not null references cards (id) on delete cascade,
    platform text not null check (platform in ('github', 'gitlab', 'gitea', 'forgejo', 'other')),
    link_type text not null check (link_type in ('commit', 'pr', 'issue', 'link')),
    title text not null,
    url text not null,
    reference text not null,
    author text not null default '',
    status text not null default 'open' check (status in ('open', 'closed', 'merged')),
    repo_name text not null default '',
    created_by_id bigint references users (id)
);
-- One of each on a card.
create unique index card_links_same on card_links (card_id, platform, repo_name, link_type, reference);
create index card_links_card on card_links (card_id, id desc);
