-- Links of cards, made by hand. Planned like the changes of cards. A link shows nobody by name, so its shape may come before its seq.

create or replace function create_link(
    actor_ bigint, client_ text, need_ text, version_ integer, conflict_status_ integer,
    project_ bigint, card_ text, platform_ text, link_type_ text, title_ text, url_ text, reference_ text, author_ text,
    status_ text, repo_name_ text,
    out status integer, out answer text, out messages text[]
) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
    prefix text;
    id_ bigint;
    l card_links;
begin
    prefix := require_writer(actor_, project_, need_);
    id_ := hold_part(project_, prefix, card_);
    insert into card_links (
        card_id, platform, link_type, title, url, reference, author, status, repo_name, created_by_id
    ) values (
        id_, platform_, link_type_, title_, url_, reference_, author_, status_, repo_name_, actor_
    ) on conflict do nothing returning * into l;
    if l.id is null then
        perform refuse(409, 'the card has this link already', '{"code":"already_linked"}');
    end if;
    perform tell_part(project_, id_, actor_, 'link_added');
    status := 201;
    answer := shape(l)::text;
    messages := record(
        array[
            row('project:' || project_, 'board.link_created', answer, entity(entity('card', id_), 'link', l.id))::new_event
        ], actor_, client_
    );
end
$$;

create or replace function delete_link(
    actor_ bigint, client_ text, need_ text, version_ integer, conflict_status_ integer,
    project_ bigint, card_ text, link_ bigint,
    out status integer, out answer text, out messages text[]
) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
    prefix text;
    id_ bigint;
begin
    prefix := require_writer(actor_, project_, need_);
    id_ := hold_part(project_, prefix, card_);
    delete from card_links l where l.id = link_ and l.card_id = id_;
    if not found then
        perform refuse(404, 'link not found');
    end if;
    perform tell_part(project_, id_, actor_, 'link_removed');
    status := 204;
    answer := '';
    messages := record(
        array[
            row(
                'project:' || project_, 'board.link_deleted', '{"id":' || link_ || ',"card_id":' || id_ || '}',
                entity(entity('card', id_), 'link', link_)
            )::new_event
        ], actor_, client_
    );
end
$$;
