"""Projects: the list, the board, what may be changed of them, and the stars."""

from __future__ import annotations

from aiohttp import web

from warmdesk.auth.actor import GlobalRole, Role
from warmdesk.changes import accounts
from warmdesk.changes.projects import COLOR, change_project_to
from warmdesk.db.queries import sql
from warmdesk.desk import Desk
from warmdesk.http.answers import answer, answer_outcome, json_text, no_content
from warmdesk.http.encodings import gzip_tag, not_modified, tags_seen, takes_gzip
from warmdesk.http.pages import answer_page, begins_after
from warmdesk.http.request import ACTOR, BODY, CONTEXT, DESK, PROJECT, QUERY, READS, shown_at
from warmdesk.http.route import ApiTag, Etag
from warmdesk.http.routing import route
from warmdesk.http.views import view_of
from warmdesk.json_parts import joined
from warmdesk.realtime.bus import REDIS_AWAY
from warmdesk.realtime.change import Change, Outcome
from warmdesk.realtime.channels import CONTROL, project_channel, user_channel
from warmdesk.realtime.entities import entity
from warmdesk.realtime.events import (
    CONTROL_MEMBER,
    PROJECT_CREATED,
    PROJECT_STARRED,
    PROJECT_UNSTARRED,
)
from warmdesk.schemas.conversations import Mute
from warmdesk.schemas.projects import (
    HERE_SHOWN,
    BoardCounts,
    BriefProjectDetail,
    Digest,
    ListedProject,
    ListProjects,
    NewProject,
    Project,
    ProjectChanges,
    ProjectDetail,
    ShowProject,
    Starred,
)

PROJECTS = ApiTag("projects", "Boards with their members and talk.")


@route(
    "GET",
    "/projects",
    query=ListProjects,
    answer=list[ListedProject],
    tag=PROJECTS,
    paged=True,
)
async def list_projects(request: web.Request) -> web.Response:
    """List the projects you can see, by name or by activity.

    Archived ones only with `include_archived`; `mine` leaves out what a global administrator sees
    without being a member.
    """
    return await _page(request, starred_only=False)


@route(
    "GET",
    "/starred-projects",
    query=ListProjects,
    answer=list[ListedProject],
    tag=PROJECTS,
    paged=True,
)
async def list_starred_projects(request: web.Request) -> web.Response:
    """List the projects that have your star, by name or by activity."""
    return await _page(request, starred_only=True)


async def _page(request: web.Request, *, starred_only: bool) -> web.Response:
    query: ListProjects = request[QUERY]
    actor = request[ACTOR]
    desk = request.app[DESK]
    after_name, after_us, after_id = begins_after(request)
    async with desk.database.connection() as connection:
        page = await sql.projects.page(
            connection,
            user_id=actor.user_id,
            global_role=actor.global_role,
            mine=query.mine,
            starred_only=starred_only,
            include_archived=query.include_archived,
            q=query.q.strip(),
            by_activity=query.sort == "activity",
            after_name=after_name,
            after_us=after_us,
            after_id=after_id,
            limit=query.limit,
        )
    items: list[str] = page["items"]
    if query.include == "here":
        here = await _here(desk, page["ids"])
        items = [joined(who, item) for who, item in zip(here, items, strict=True)]
    return answer_page(request, {"items": f"[{','.join(items)}]", "next": page["next"]})


async def _here(desk: Desk, project_ids: list[int]) -> list[str]:
    """For each project an object that says who has it open."""
    channels = [project_channel(each) for each in project_ids]
    try:
        crowds = await desk.presence.newest(channels, HERE_SHOWN)
    except REDIS_AWAY:
        return ['{"here":null}' for _ in channels]
    refs = await desk.people.by_id({user_id for _, newest in crowds for user_id in newest})
    shown = []
    for count, newest in crowds:
        users = b",".join(refs[each] for each in newest if each in refs).decode()
        shown.append(f'{{"here":{{"count":{count},"users":[{users}]}}}}')
    return shown


@route(
    "POST",
    "/projects",
    need=frozenset({GlobalRole.ADMIN, GlobalRole.USER}),
    body=NewProject,
    answer=Project,
    status=201,
    made_at="/projects/{slug}",
    tag=PROJECTS,
    example={"name": "My Project", "description": "What it is for", "color": "#6366f1"},
    errors=(409,),
    keyed=True,
)
async def create_project(request: web.Request) -> web.Response:
    """Create a project: you are its owner, and it starts with the usual columns and labels.

    The slug is made of the name and never changes; so is the key prefix, unless you choose one.
    """
    desk, body, actor_id = request.app[DESK], request[BODY], request[ACTOR].user_id

    async def work(change: Change) -> Outcome:
        await change.enter()
        made = await sql.projects.create(
            change.connection,
            actor=actor_id,
            name=body.name.strip(),
            description=body.description or "",
            color=body.color or COLOR,
            key_prefix=body.key_prefix,
        )
        project_id = made["id"]
        await accounts.require_room(change, actor_id)
        change.emit(CONTROL, CONTROL_MEMBER, json_text(user_id=actor_id, project_id=project_id))
        change.emit(
            user_channel(actor_id),
            PROJECT_CREATED,
            json_text(slug=made["slug"]),
            entity=entity("project", project_id),
        )
        seen: str = await sql.projects.seen(
            change.connection, project_id=project_id, user_id=actor_id, role="owner"
        )
        return Outcome(201, seen)

    return answer_outcome(await desk.changes.run(request[CONTEXT], work))


@route(
    "GET",
    "/projects/{slug}",
    need=Role.VIEWER,
    query=ShowProject,
    answer=ProjectDetail,
    brief=BriefProjectDetail,
    tag=PROJECTS,
    etag=Etag.CONTENT,
)
async def show_project(request: web.Request) -> web.Response:
    """Show the board: project, columns with their first cards each, labels, members.

    A column has 500 cards, or `cards_limit` of them. Where it has more (`cards_more`), its list
    goes on from `cards_next`, as its `cursor`. With `cards=brief` they are a fifth as long: with
    ids alone, and without what is nothing. With `chat` among `include` it has also the newest 50
    messages.

    The board takes at most 8 MiB. Beyond it the longest descriptions are cut (`description_cut`
    says which) and then columns show fewer cards.

    `seq` and `epoch` are what it is true for: a socket opened with them gets exactly what came
    after. The ETag answers 304 while nothing changed.
    """
    seen, query, project = tags_seen(request), request[QUERY], request[PROJECT]
    board = await request.app[DESK].boards.read(
        project,
        request[ACTOR].user_id,
        view_of(project.slug, query),
        seen=seen,
        gzip=takes_gzip(request),
    )
    shown_at(request, board.seq, board.epoch)
    headers = {"Cache-Control": "private, no-cache"}
    if board.content is None:
        return not_modified(seen.get(board.etag, board.etag), headers)
    headers["ETag"] = board.etag
    if board.gzipped:
        headers |= {"ETag": gzip_tag(board.etag), "Content-Encoding": "gzip"}
    return answer(board.content, headers=headers, is_encoded=True)


@route(
    "GET",
    "/projects/{slug}/counts",
    need=Role.VIEWER,
    answer=BoardCounts,
    tag=PROJECTS,
    heavy=True,
)
async def show_counts(request: web.Request) -> web.Response:
    """Show how many cards the board has in each column, and how many open ones in all.

    They follow from events, but for events whose text was deleted (`gone`): after those a socket is
    told `board.counts`, which is the same.
    """
    found = await sql.projects.counts(request[READS], project_id=request[PROJECT].id)
    return answer(found["counts"])


@route(
    "GET",
    "/projects/{slug}/digest",
    need=Role.VIEWER,
    answer=Digest,
    tag=PROJECTS,
    heavy=True,
)
async def show_digest(request: web.Request) -> web.Response:
    """Show a digest of the board, for clients that prove that what they show is true.

    It is the SHA-256, in hex, of one line for each column in order, its id and version and those of
    its cards in order, `<id>:<version>[<id>:<version>,…]` and a line feed, without cards that are
    archived or deleted. Who shows something else at the same `seq` and `epoch` fetches again.
    """
    found = await sql.projects.digest(request[READS], project_id=request[PROJECT].id)
    return answer(Digest(seq=found["seq"], epoch=found["epoch"], digest=found["digest"]))


@route(
    "PUT",
    "/projects/{slug}",
    need=Role.OWNER,
    body=ProjectChanges,
    answer=Project,
    tag=PROJECTS,
    example={"name": "My Project", "is_archived": False},
)
async def change_project(request: web.Request) -> web.Response:
    """Change a project's name, description or color, archive it or take it out of the archive."""
    desk, body = request.app[DESK], request[BODY]
    return answer(await change_project_to(desk.changes, request[CONTEXT], body))


@route("DELETE", "/projects/{slug}", need=Role.OWNER, status=204, tag=PROJECTS)
async def archive_project(request: web.Request) -> web.Response:
    """Archive a project: it stays readable, and PUT with `is_archived` false brings it back."""
    wanted = ProjectChanges(is_archived=True)
    await change_project_to(request.app[DESK].changes, request[CONTEXT], wanted)
    return no_content()


@route("POST", "/projects/{slug}/star", need=Role.VIEWER, answer=Starred, tag=PROJECTS)
async def star_project(request: web.Request) -> web.Response:
    """Give a project your star."""
    await _set_star(request, starred=True)
    return answer(Starred(starred=True))


@route("DELETE", "/projects/{slug}/star", need=Role.VIEWER, status=204, tag=PROJECTS)
async def unstar_project(request: web.Request) -> web.Response:
    """Take your star away."""
    await _set_star(request, starred=False)
    return no_content()


async def _set_star(request: web.Request, *, starred: bool) -> None:
    user_id, project = request[ACTOR].user_id, request[PROJECT]
    query = sql.projects.star if starred else sql.projects.unstar

    async def work(change: Change) -> None:
        await change.enter(archived=True)
        if await query(change.connection, user_id=user_id, project_id=project.id):
            change.emit(
                user_channel(user_id),
                PROJECT_STARRED if starred else PROJECT_UNSTARRED,
                json_text(slug=project.slug),
                entity=entity("project", project.id),
            )

    await request.app[DESK].changes.run(request[CONTEXT], work)


@route(
    "PUT",
    "/projects/{slug}/mute",
    need=Role.VIEWER,
    body=Mute,
    status=204,
    tag=PROJECTS,
    example={"muted": True},
)
async def mute_project(request: web.Request) -> web.Response:
    """Say whether you want to be left in peace; what you have not read is counted all the same."""
    user_id, project_id = request[ACTOR].user_id, request[PROJECT].id
    muted = request[BODY].muted

    async def work(change: Change) -> None:
        await change.enter(archived=True)
        await sql.projects.mute(
            change.connection, project_id=project_id, user_id=user_id, muted=muted
        )

    await request.app[DESK].changes.run(request[CONTEXT], work)
    return no_content()
